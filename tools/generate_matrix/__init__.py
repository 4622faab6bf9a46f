"""`make generate-matrix`: drivers of many hosts, found by pyshimctl and by nvidia-ctk."""
