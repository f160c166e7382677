"""How well frameworks are met: all judgements of their controls, added up."""
