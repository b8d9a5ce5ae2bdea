"""The stages on a Ray cluster; nothing else imports ray, and nothing imports this unasked."""
