"""Operations: started, queued, cancelled, and run step by step."""
