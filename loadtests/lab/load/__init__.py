"""What runs inside locust: users, clients, and the coordinator that makes the event and draws the verdict."""
