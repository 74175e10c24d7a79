"""The local cluster's kubelet: Pod objects into supervised subprocesses that outlive the server and lose no outcome."""
