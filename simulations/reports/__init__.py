"""What a person looks at: pictures, pages and lists."""
