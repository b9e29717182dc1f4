"""What thinking runs teach: data for thinkers, and pairs for editors."""
