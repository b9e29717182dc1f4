"""Requests to servers, for thinkers and editors: which images and keys may go where, and how failures are handled."""
