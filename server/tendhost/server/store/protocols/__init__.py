"""What a store does, a protocol for each noun. A signature names the narrow one that its code needs."""
