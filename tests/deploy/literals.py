"""Manifests of Kubernetes as constants of TypeScript, each of the type that its kind and version name: literals.py FILE."""
import json
import sys

import yaml

for number, manifest in enumerate(yaml.safe_load_all(open(sys.argv[1]))):
    group, _, version = manifest["apiVersion"].rpartition("/")
    module = f"{group.split('.')[0] or 'core'}/{version}"
    print(f"// {manifest['kind']} {manifest['metadata']['name']}")
    print(f"export const manifest{number}: import('kubernetes-types/{module}').{manifest['kind']} = {json.dumps(manifest, indent=1)};")
