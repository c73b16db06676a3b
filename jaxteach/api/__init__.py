"""What `import jaxteach` offers."""
