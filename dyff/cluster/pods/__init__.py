"""The local cluster's kubelet: runs Pods as supervised subprocesses that outlive the server, without losing an outcome."""
