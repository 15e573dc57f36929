"""What fsar report is made of: reading runs, drawing curves, choosing episodes, the page's templates."""
