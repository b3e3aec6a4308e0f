"""Words everyone uses: tiers, decisions, errors, ids, clocks. Imports nothing of ours."""
