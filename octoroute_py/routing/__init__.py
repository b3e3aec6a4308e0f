"""From facts to a tier: intent, the rule table, and the seam the other strategies join."""
