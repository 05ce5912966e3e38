"""Operations: begun, queued, cancelled, and driven through their steps."""
