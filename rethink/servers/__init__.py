"""Asking servers, for thinkers and for editors: whose images and keys may go where, and what becomes of one that fails."""
