#!/bin/bash
# A table by a job array, one GPU each: every task takes works that no other is at.  sbatch configs/slurm_reproduce.sh
#
# Submitted again it goes on where it was: what is done is not done again, an interrupted training goes on.
#SBATCH --job-name=fsar-table
#SBATCH --array=1-4
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=%x-%A-%a.out

set -euo pipefail
exec fsar reproduce --benchmark hmdb51 --root data/hmdb51 --methods clip_fsar otam trx --shots 1 5 -o table
