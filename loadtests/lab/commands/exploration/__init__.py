"""The parts of ``lastseat explore`` that are asked for by options of their own."""
