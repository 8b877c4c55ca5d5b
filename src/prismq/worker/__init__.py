"""Taking work out: claim, run, settle; and everything that keeps that honest."""
