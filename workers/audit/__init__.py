"""Audit of generations, money and images: finds discrepancies and changes nothing. Knows no engine and no HTTP."""
