"""What people are owed: erasure that can be proved, bounded keeping, and a log of who looked at what."""
