"""What the teacher knows of each family of tasks: captions and skills."""
