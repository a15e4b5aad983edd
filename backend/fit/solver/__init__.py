"""The numbers behind the fit: Gauss-Newton steps, their matrices, the pose prior and the time term."""
