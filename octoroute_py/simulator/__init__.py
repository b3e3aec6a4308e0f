"""Real HTTP model servers with configurable speed, price and faults, for demo, tests and benchmarks."""
