"""Errors, files, arguments, text, sockets, plotting, packages, and the convention of class folders:
what every other folder may use. No torch.
"""
