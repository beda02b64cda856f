"""What happens to a message before it is sent and once it is accepted."""
