"""What knows nothing of castings: errors, files, arguments, text, sockets, plotting. No torch."""
