"""`pyshimctl cdi generate`: CDI specs from what a host has."""
