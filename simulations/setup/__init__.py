"""What is done before the first round."""
