"""The process that Blender talks to: socket, jobs in line, a worker for each, the endpoint file."""
