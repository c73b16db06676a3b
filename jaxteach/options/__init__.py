"""Which values an option may have, and when it has an effect."""
