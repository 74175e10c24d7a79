"""A scikit-learn model behind HTTP: a POST of an applicant is answered with the decision. This runs as an inference service."""

import json
import os
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sklearn.linear_model import LogisticRegression

# Your own model goes here, for instance skops.io.load("model.skops"). This one learns from invented applicants.
draw = random.Random(0)
past = [[draw.uniform(10, 100), draw.uniform(0, 60)] for _ in range(500)]
model = LogisticRegression().fit(past, [income - debt + draw.gauss(0, 10) > 20 for income, debt in past])


class Handler(BaseHTTPRequestHandler):
    """Answers each applicant with a decision."""

    def do_GET(self):  # GET /ready is asked until the answer is 200; then the service counts as ready
        self.reply(200, {})

    def do_POST(self):
        try:
            item = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            granted = float(model.predict_proba([[item["income"], item["debt"]]])[0][1])
            self.reply(200, {"granted": granted > 0.5, "probability": granted})
        except (KeyError, TypeError, ValueError) as error:  # this item does not suit the model
            self.reply(400, {"error": repr(error)})

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
