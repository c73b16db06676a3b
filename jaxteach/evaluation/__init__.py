"""Playing episodes with a trained student or with the teacher."""
