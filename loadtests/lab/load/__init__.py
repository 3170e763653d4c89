"""What runs inside locust: users, clients, and who makes the event and draws the verdict."""
