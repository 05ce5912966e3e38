"""Docker compose: inspection of projects, their update, and updates of their images."""
