"""What the service can be asked, one method per endpoint; written once for both clients. No I/O here, see `steps`."""
