"""What is measured, and how: `make bench` starts a store on an empty folder and loads it from processes of its own."""
