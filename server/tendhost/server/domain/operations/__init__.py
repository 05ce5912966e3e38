"""Operations: the order of their steps, what each step may do, and where a retry continues."""
