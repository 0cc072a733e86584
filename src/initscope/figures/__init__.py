"""Floor 4: records in, matplotlib Figures out. Never shows, never saves. No torch."""
