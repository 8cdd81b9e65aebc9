"""Suggests a learning rate: trains copies at rising rates, and reads the losses."""
