"""What is remembered across restarts: verdicts, and which content belongs to which manifest.

The content cache will stand beside these as `stores/content`.
"""
