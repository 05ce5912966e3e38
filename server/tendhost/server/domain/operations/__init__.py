"""Operations: their steps in order, what each may do, and how a retry goes on."""
