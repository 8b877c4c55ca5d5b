"""What was put right without anybody's doing, and breakers opened and closed by hand."""
