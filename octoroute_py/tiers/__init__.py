"""Who can answer: endpoints, their breakers and health, and how one is picked."""
