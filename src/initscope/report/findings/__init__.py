"""What `check` found, as text, one line a finding, JSON, SARIF, workflow commands, JUnit and a page. No torch here."""
