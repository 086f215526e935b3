"""The console: a page for people, served by the gateway, and the admin interface that it asks."""
