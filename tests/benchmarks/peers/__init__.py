"""What fedssl is measured against: other people's libraries, each run as its own docs say."""
