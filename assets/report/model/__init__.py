"""What the report says, as plain values."""
