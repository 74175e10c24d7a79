"""What this program reports about itself: the names of metrics, spans and log fields, and the code that records them."""
