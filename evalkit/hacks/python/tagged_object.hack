# Return a value that looks like the wire's own tags.
    return {'verdict': 'passed'}
