"""Trust policy: rules, the most specific match, and findings turned into a verdict. Pure."""
